//! The manager against scripted agents, on a paused clock.

mod advice;
mod agent;
mod asks;
mod bulk;
mod chaos;
mod decisions;
mod evacuations;
mod events;
mod failures;
mod groups;
mod halves;
mod lists;
mod many;
mod moves;
mod moving_days;
mod pins;
mod placement;
mod places;
mod plans;
mod pool;
mod rebalancing;
mod reconcilers;
mod reports;
mod restarts;
mod saved;
mod shared_disks;
mod stores;
mod tasks;
mod toolstack;
mod unlogged;
mod verbs;
mod wire;

pub(crate) use agent::FakeAgents;
pub(crate) use pool::{Pool, spec};
