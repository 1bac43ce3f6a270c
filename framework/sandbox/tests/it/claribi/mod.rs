//! The simulation of clariBI.

mod credentials;
mod errors;
mod external;
mod limits;
mod lists;
mod pages;
mod records;
mod support;
