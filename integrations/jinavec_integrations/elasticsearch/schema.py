"""The index on the server: its mapping read and checked, created, and told which encoder filled it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinavec.errors import EngineError
from jinavec.extras import require
from jinavec_integrations.elasticsearch.connect import Place
from jinavec_integrations.elasticsearch.errors import reported
from jinavec_integrations.elasticsearch.mapping import Meta, settings_of
from jinavec_integrations.elasticsearch.options import ElasticsearchOptions

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch


def read_meta(client: Elasticsearch, place: Place) -> Meta:
    """Read what the mapping says of the index.

    Raises:
        IndexNotFound: no such index.
        EngineError: not an index of jinavec, one whose fields were changed, or several behind an alias.
        IndexDamaged: what jinavec wrote there cannot be read.
    """
    with reported(str(place)):
        mappings = client.indices.get_mapping(index=place.index).body
    if len(mappings) != 1:
        raise EngineError(f"{place}: the name stands for {len(mappings)} indices; name one of them")
    (found,) = mappings.values()
    meta = Meta.read(str(place), found["mappings"])
    meta.check_fields(str(place), found["mappings"])
    return meta


def create_index(client: Elasticsearch, place: Place, meta: Meta, options: ElasticsearchOptions) -> bool:
    """Create an index; return False where another client was first."""
    library = require("elasticsearch", "elasticsearch")
    with reported(str(place)):
        try:
            client.indices.create(index=place.index, mappings=meta.mapping(), settings=settings_of(options))
        except library.BadRequestError as error:
            if error.message != "resource_already_exists_exception":
                raise
            return False
    return True


def write_meta(client: Elasticsearch, place: Place, meta: Meta) -> None:
    """Replace the ``_meta`` of the mapping."""
    with reported(str(place)):
        client.indices.put_mapping(index=place.index, meta=meta.to_json())
