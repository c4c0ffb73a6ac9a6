"""The test harness: a real Envoy, an upstream that counts bytes, clients with full control of framing, a signer.

Only `gateway` knows what the contract says of every request alike (SPEC 3.6 and 3.7); the others drive and observe.
"""
