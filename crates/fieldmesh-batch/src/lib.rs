//! Seals, opens and verifies a signed batch: header, Merkle leaves, chains, forks.
