"""Whether a resource may be used: `check` holds it against its marks and the rules between fields.

    walk      from the resource down to each field; `check`
    between   which rules belong to which type; the rules themselves are in the *_rules modules
    shape     what is wrong with a document that does not fit its type at all: unknown fields, nulls

Everything here raises `InvalidResourceError` and changes nothing.
Source: projectcalico/calico libcalico-go/lib/validator/v3, and the schemas and cross-field rules in
api/pkg/apis/projectcalico/v3.
"""

from __future__ import annotations

from felixpy.datastore.validation.metadata_rules import check_metadata, check_name
from felixpy.datastore.validation.walk import check

__all__ = ["check", "check_metadata", "check_name"]
