//! A deterministic world: virtual clock, lossy network, generated crews, reference model, checkers.
