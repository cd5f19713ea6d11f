# One image for all processes of the Procfile; it starts the web process unless told otherwise.
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /flatwire

COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt

COPY app app
COPY workers workers
COPY config config
RUN python -m compileall -q app workers config \
    && useradd --system --no-create-home flatwire
USER flatwire

EXPOSE 8000
CMD ["gunicorn", "-c", "python:config.gunicorn", "app.web:create_app()"]
