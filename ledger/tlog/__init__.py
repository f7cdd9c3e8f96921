"""The arithmetic and text forms of a transparency log (RFC 6962, C2SP). Pure: no clock, no disk."""
