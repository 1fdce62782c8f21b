//! larder-expressions
