"""Types that the settings of several sinks share."""

from typing import Annotated

from msgspec import Meta

#: http or https, a host, no login: a login would be a secret in the TOML
Url = Annotated[str, Meta(pattern=r"^https?://[A-Za-z0-9.\[\]:_-]+(/[^\s@]*)?$", max_length=2000)]
