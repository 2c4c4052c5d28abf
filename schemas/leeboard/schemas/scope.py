"""The scope key: the unit of order, state, budget and incidents."""

from urllib.parse import quote, unquote

#: longest scope key in bytes; longer ones are refused, so that a key always fits a topic record and a dedup key
MAX_KEY_BYTES = 1024


def scope_key(tenant: str | None, app: str, env: str, route: str) -> str:
    """`tenant/app/env/route`, each part percent-encoded UTF-8; an absent tenant leaves its part empty."""
    return "/".join(quote(part, safe="") for part in (tenant or "", app, env, route))


def scope_parts(key: str) -> tuple[str | None, str, str, str]:
    """(tenant or None, app, env, route) of a scope key.

    Raises ValueError where `key` is no scope key.
    """
    parts = key.split("/")
    if len(parts) != 4:
        raise ValueError(f"a scope key has four parts, tenant/app/env/route: {key!r}")
    tenant, app, env, route = (unquote(part) for part in parts)
    return tenant or None, app, env, route
