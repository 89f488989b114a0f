"""The caller's token in, a token for one downstream service out: exchanged, verified, and kept sealed."""
