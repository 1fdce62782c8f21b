//! larder-contracts
