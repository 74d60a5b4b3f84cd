"""Stand-ins that refuse what the real thing would refuse.

drivers       what the desired layer and the dataplane write to
certificates  throw-away authorities, servers and clients for TLS
node          a whole dataplane over them, told of updates and interfaces as a test pleases
"""
