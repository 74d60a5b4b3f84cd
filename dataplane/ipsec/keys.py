"""Keys of IPsec, which never show themselves, and what is derived from them.

Algorithm    what the kernel is to do with a key
Key          ID, algorithm, and the secret
KeyRing      those of a key file
"""
