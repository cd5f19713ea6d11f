/* Keeps a page alive: takes over what changed, shows local time, and says so when the server can't be reached. */
(() => {
  "use strict";

  /** Each part as the server sent it: what is on the page differs from it by its local times. */
  const sent = new WeakMap();

  function remember(root) {
    for (const part of [root, ...root.querySelectorAll("[id]")]) sent.set(part, part.outerHTML);
  }

  /** Replace only the parts that changed: focus, selection and scrolling stay where they are. */
  function takeOver(place, news) {
    const standing = new Map([...place.children].map((part) => [part.id, part]));
    const parts = [...news.children].map((part) => kept(standing.get(part.id), part));
    for (const part of [...place.children]) if (!parts.includes(part)) part.remove();
    parts.forEach((part, at) => {
      if (place.children[at] !== part) place.insertBefore(part, place.children[at] ?? null);
    });
  }

  function kept(old, part) {
    if (old && sent.get(old) === part.outerHTML) return old;
    if (old?.hasAttribute("data-parts") && part.hasAttribute("data-parts")) {
      sent.set(old, part.outerHTML);
      takeOver(old, part);
      return old;
    }
    remember(part);
    if (old) keepTicks(old, part);
    if (old?.dataset.status !== part.dataset.status) part.classList.add("news");
    return part;
  }

  /** What somebody ticked stays ticked, though the row around it changed. */
  function keepTicks(old, part) {
    for (const box of old.querySelectorAll("input[type=checkbox]")) {
      const same = [...part.querySelectorAll("input[type=checkbox]")].find((it) => it.value === box.value);
      if (same) same.checked = box.checked;
    }
  }

  htmx.defineExtension("changes", {
    isInlineSwap: (style) => style === "changes",
    handleSwap(style, target, fragment) {
      if (style !== "changes") return false;
      takeOver(target, fragment);
      return [];
    },
  });

  const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

  function showLocalTimes() {
    const today = day.format(new Date());
    for (const time of document.querySelectorAll("time")) {
      const moment = new Date(time.dateTime);
      const date = day.format(moment);
      time.title = `${time.dateTime.slice(0, 10)} ${time.dateTime.slice(11, 23)} UTC`;
      write(time.firstElementChild, clock.format(moment));
      write(time.lastElementChild, date === today ? "" : date);
    }
    showLocalHours();
  }

  function showLocalHours() {
    for (const label of document.querySelectorAll("[data-hour]")) {
      write(label, clock.format(new Date(label.dataset.hour)).slice(0, 5));
    }
  }

  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function showZone() {
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    if (timeZone === "UTC") return;
    const parts = new Intl.DateTimeFormat("en-GB", { timeZoneName: "shortOffset" }).formatToParts(new Date());
    const offset = parts.find((part) => part.type === "timeZoneName").value;
    const readable = offset.replace("GMT", "UTC").replace("-", "−");
    const zone = document.getElementById("zone");
    if (zone) write(zone, `Times are ${timeZone.replaceAll("_", " ")}, ${readable}`);
  }

  const page = document.querySelector("#page[hx-get]");
  if (page) remember(page); // as it was sent, before its times are made local ones
  showLocalTimes();
  showZone();
  if (!page) return; // a question stands still

  const lost = document.getElementById("lost");
  const title = document.title;
  let seen = new Date();
  let etag = null;

  function showContact() {
    seen = new Date();
    lost.hidden = true;
    write(document.getElementById("asof"), ` · as of ${clock.format(seen)}`);
    const count = document.getElementById("count").dataset.attention;
    document.title = count === "0" ? title : `(${count}) ${title}`;
    const asking = document.getElementById("asking");
    asking.hidden = count === "0";
    write(asking, count);
    showLocalTimes();
  }

  function showLoss(what) {
    if (!lost.hidden) return;
    lost.textContent = `${what} What you see is as of ${clock.format(seen)} and may be out of date. Trying again every two seconds.`;
    lost.hidden = false;
  }

  showContact();

  document.addEventListener("htmx:configRequest", ({ detail }) => {
    if (etag) detail.headers["If-None-Match"] = etag;
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (!detail.successful) return;
    etag = detail.xhr.getResponseHeader("ETag") ?? etag;
    showContact();
  });
  document.addEventListener("htmx:sendError", () => showLoss("Flatwire can’t be reached."));
  document.addEventListener("htmx:timeout", () => showLoss("Flatwire does not answer."));
  document.addEventListener("htmx:responseError", ({ detail }) =>
    showLoss(`Flatwire answers with an error (${detail.xhr.status}).`),
  );
})();
