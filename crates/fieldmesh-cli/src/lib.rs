//! The fieldmesh program: commands and daemon over a node.
