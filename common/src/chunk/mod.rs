//! Sealed objects: chunks, manifest pages, names and attributes.
