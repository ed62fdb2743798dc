//! Optimisers, schedules and gradient clipping.
