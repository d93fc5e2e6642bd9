//! Rules that hold for the whole workspace: layers, purity, the map, file sizes.
