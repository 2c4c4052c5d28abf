"""Types that the settings of several sinks share."""

from typing import Annotated

from msgspec import Meta

#: http or https, a host, no login: a login would be a secret in the TOML
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?"
Url = Annotated[str, Meta(pattern=rf"^https?://{_HOST}(/[^\s@]*)?$", max_length=2000)]
