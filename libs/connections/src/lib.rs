//! larder-connections
