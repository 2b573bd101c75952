//! Paths below one synced root, made of validated names alone.
//!
//! Owns [`RelPath`]: `..`, absolute paths and separators inside a name cannot be expressed with
//! it. It touches no disk and knows nothing of the root's own path.

use common::limits::{DEPTH_MAX, PATH_BYTES_MAX};
use common::name::{Name, PRIVATE_DIRECTORY};
use std::fmt;

/// The part of a root in which a path lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// What the user sees and what is synced.
    Tree,
    /// Files that are being written; nothing here is known to anyone else.
    Staging,
    /// What was exchanged or renamed away and waits for its last check.
    Displaced,
    /// Entries taken aside for a while, such as the members of a cycle of renames.
    Parked,
}

impl Area {
    /// The private areas, in the order in which a root is given them.
    pub const PRIVATE: [Self; 3] = [Self::Staging, Self::Displaced, Self::Parked];

    /// Name of the directory inside `.driftless`; `None` for the tree.
    #[must_use]
    pub fn directory(self) -> Option<&'static str> {
        match self {
            Self::Tree => None,
            Self::Staging => Some("staging"),
            Self::Displaced => Some("displaced"),
            Self::Parked => Some("parked"),
        }
    }
}

/// Why names do not make a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// More than [`DEPTH_MAX`] names.
    #[error("the path is more than {DEPTH_MAX} levels deep")]
    TooDeep,
    /// More than [`PATH_BYTES_MAX`] bytes, separators included.
    #[error("the path is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
}

/// A path relative to a synced root: an area and up to [`DEPTH_MAX`] names of at most
/// [`PATH_BYTES_MAX`] bytes together. Sorts by area, then name by name, so that a directory
/// comes before what it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath {
    area: Area,
    names: Vec<Name>,
}

impl RelPath {
    /// The root of the tree itself.
    #[must_use]
    pub fn root() -> Self {
        Self::area_root(Area::Tree)
    }

    /// The directory of an area: of the tree the root, of the others `.driftless/AREA`.
    #[must_use]
    pub fn area_root(area: Area) -> Self {
        Self { area, names: Vec::new() }
    }

    /// A path in the tree.
    ///
    /// # Errors
    /// [`PathError`] when it is too deep or too long.
    pub fn new(names: Vec<Name>) -> Result<Self, PathError> {
        Self::checked(Area::Tree, names)
    }

    /// An entry directly inside an area; for the tree, an entry of the root.
    #[must_use]
    pub fn inside(area: Area, name: Name) -> Self {
        Self { area, names: vec![name] }
    }

    /// This path and one more name.
    ///
    /// # Errors
    /// [`PathError`] when it is too deep or too long.
    pub fn join(&self, name: &Name) -> Result<Self, PathError> {
        let mut names = Vec::with_capacity(self.names.len() + 1);
        names.extend_from_slice(&self.names);
        names.push(name.clone());
        Self::checked(self.area, names)
    }

    /// The directory that holds this path; `None` for the root of an area.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.names.split_last()?;
        Some(Self { area: self.area, names: above.to_vec() })
    }

    /// The last name; `None` for the root of an area.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        self.names.last()
    }

    /// All names from the area's root down.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// The area in which the path lies.
    #[must_use]
    pub fn area(&self) -> Area {
        self.area
    }

    /// Whether the path lies in `.driftless`.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.area != Area::Tree
    }

    /// Whether this is the root of its area.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether `self` is `other` or lies below it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.area == other.area && self.names.starts_with(&other.names)
    }

    /// The components to walk from the root, `.driftless` and the area's directory included.
    pub(crate) fn components(&self) -> impl Iterator<Item = &str> {
        self.area
            .directory()
            .into_iter()
            .flat_map(|directory| [PRIVATE_DIRECTORY, directory])
            .chain(self.names.iter().map(Name::as_str))
    }

    fn checked(area: Area, names: Vec<Name>) -> Result<Self, PathError> {
        if names.len() > DEPTH_MAX {
            return Err(PathError::TooDeep);
        }
        let bytes: usize = names.iter().map(|name| name.as_str().len() + 1).sum();
        if bytes > PATH_BYTES_MAX + 1 {
            return Err(PathError::TooLong);
        }
        Ok(Self { area, names })
    }
}

impl fmt::Display for RelPath {
    /// `a/b/c`; `.` for the root; `.driftless/staging/NAME` for a private one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut components = self.components();
        match components.next() {
            None => return f.write_str("."),
            Some(first) => f.write_str(first)?,
        }
        components.try_for_each(|component| write!(f, "/{component}"))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn paths_print_as_they_lie_on_disk() {
        assert_eq!(RelPath::root().to_string(), ".");
        let path = RelPath::new(vec![name("a"), name("b")]).unwrap();
        assert_eq!(path.to_string(), "a/b");
        assert_eq!(path.parent().unwrap().to_string(), "a");
        let staged = RelPath::inside(Area::Staging, name("x"));
        assert_eq!(staged.to_string(), ".driftless/staging/x");
        assert!(staged.is_private() && !path.is_private());
        assert!(path.starts_with(&RelPath::root()) && !staged.starts_with(&RelPath::root()));
        assert_eq!(RelPath::root().parent(), None);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let deep = vec![name("a"); DEPTH_MAX + 1];
        assert_eq!(RelPath::new(deep), Err(PathError::TooDeep));
        let long = vec![name(&"x".repeat(255)); 17];
        assert_eq!(RelPath::new(long), Err(PathError::TooLong));
        let deepest = RelPath::new(vec![name("a"); DEPTH_MAX]).unwrap();
        assert_eq!(deepest.join(&name("b")), Err(PathError::TooDeep));
        assert!(RelPath::new(vec![name(&"x".repeat(255)); 16]).is_ok());
    }
}
