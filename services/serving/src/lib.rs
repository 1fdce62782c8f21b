//! larder-serving
