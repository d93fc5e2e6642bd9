//! QUIC with mutual TLS (quinn, rustls) and discovery (mDNS, remembered addresses).
