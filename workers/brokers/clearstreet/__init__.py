"""Clear Street, a prime broker for stocks and options in the United States."""
