"""The test harness: a real Envoy, an upstream that counts bytes, clients with full control of framing, a signer.

Only `gateway` knows what holds for every request alike (what is refused, what the reply says); the others drive and observe.
"""
