"""The table of parameters, a module for each group of them.

Names, types, defaults and flags are Felix's; where a default is not, the field says why.
Source: projectcalico/calico felix/config/config_params.go.
"""
