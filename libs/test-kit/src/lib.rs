//! larder-test-kit
