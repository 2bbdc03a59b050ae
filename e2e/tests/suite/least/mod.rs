//! Least rights: the chart gives what the list in `lapse_cluster::rights` says, the programs do what is on it and
//! nothing else, and what is not on it is refused.

mod chart;
mod done;
mod refused;
