"""Tolerances of tests, from the rounding that they allow for."""

FLOAT32 = 2.0**-24  # largest relative error of one rounding to float32

# Two results of one network on values of about 1, computed in another order (another batch, tile or direction): each
# layer adds up to 9 x 128 products, whose roundings add up as a random walk, and some twenty layers likewise; two
# results differ by sqrt(2) times that. It is 1.3e-5.
NETWORK = (2 * 20 * 9 * 128) ** 0.5 * FLOAT32
