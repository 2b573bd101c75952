//! The harness of the tests that need the whole system, and the rules that they check.
//!
//! Owns no rule of the product. It must not be used by the product.

pub mod harness;
pub mod sim;
pub mod tidy;
