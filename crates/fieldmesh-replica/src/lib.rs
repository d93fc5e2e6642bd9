//! Everything one participant decides, sans-io, over many sessions; shared by device and relay.
