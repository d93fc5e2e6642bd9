//! One conversation with one peer as a sans-io state machine; owns the wire format.
