"""Configuration: every parameter, where its value comes from, and the words to say so.

    file, environment   sources.read_local      \\
    the datastore       sources.read_datastore   > Source, ... -> resolve.resolve -> Resolved
                                                                    |
        Config, typed  <- parameters.py, the table                  +-> render: tables, JSON, sample
        Config -> dataplane.settings.Settings: to_dataplane.to_settings; BIRD's: to_bird

Names, types, defaults, flags and precedence are Felix's, so that its felix.cfg works unchanged;
the table says why where a default is not.  No secret leaves this package in any text.
"""

from felixpy.config.parameters import PARAMETERS, Change, Config, diff
from felixpy.config.problems import ConfigError, Problem
from felixpy.config.resolve import Resolved, examine, resolve
from felixpy.config.sources import (
    DEFAULT_PATH,
    Rank,
    Setting,
    Source,
    read_datastore,
    read_local,
)
from felixpy.config.to_bird import secrets_namespace, to_bird_settings, to_felix_settings
from felixpy.config.to_dataplane import to_intervals, to_settings

__all__ = [
    "DEFAULT_PATH",
    "PARAMETERS",
    "Change",
    "Config",
    "ConfigError",
    "Problem",
    "Rank",
    "Resolved",
    "Setting",
    "Source",
    "diff",
    "examine",
    "read_datastore",
    "read_local",
    "resolve",
    "secrets_namespace",
    "to_bird_settings",
    "to_felix_settings",
    "to_intervals",
    "to_settings",
]
