//! The whole system in one process, over real ports and real embedded stores, through the typed client.

mod definitions;
mod history;
mod kill;
mod sandbox;
mod training_equals_serving;
