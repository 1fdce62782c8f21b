//! larder-push-log
