//! What a machine needs from the host's kernel: processes, confinement, control groups, memory files, taps.

pub mod cgroup;
pub mod confine;
pub mod memory;
pub mod process;
pub mod tap;
