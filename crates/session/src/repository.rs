//! What is in a repository: its header, its images, its chunks.

use image::{IMAGES_DIRECTORY, ImageName, Manifest, RepositoryHeader, Store, StoreErrorKind, manifest_path};

use crate::error::{Error, RequestError, Result};

/// Checks that the store holds a repository that this program can read.
///
/// # Errors
/// `NoRepository` where it holds none.
pub fn open_repository(store: &dyn Store) -> Result<RepositoryHeader> {
    RepositoryHeader::read(store)?.ok_or_else(|| RequestError::NoRepository(store.location()).into())
}

/// Makes the store a repository, where it is none yet.
pub fn open_or_make_repository(store: &dyn Store, random: [u8; 16]) -> Result<RepositoryHeader> {
    if let Some(header) = RepositoryHeader::read(store)? {
        return Ok(header);
    }
    match RepositoryHeader::new(random).publish(store) {
        // Two machines may begin at the same time: the first one's header counts.
        Err(image::Error::Store(error)) if error.kind == StoreErrorKind::AlreadyExists => {}
        other => other?,
    }
    open_repository(store)
}

/// Reads the manifest of an image.
///
/// # Errors
/// `NoImage` where it does not exist.
pub fn read_manifest(store: &dyn Store, image: &ImageName) -> Result<Manifest> {
    match Manifest::read(store, image) {
        Err(image::Error::Store(error)) if error.kind == StoreErrorKind::NotFound => {
            Err(RequestError::NoImage(image.to_string()).into())
        }
        other => Ok(other?),
    }
}

/// An image in a listing.
pub struct Listed {
    /// Its name.
    pub name: ImageName,
    /// Its manifest, or why it can't be read; `None` where the image was not finished.
    pub manifest: Option<Result<Manifest>>,
}

/// All images of a repository in the order of their names, unfinished ones too.
pub fn list_images(store: &dyn Store) -> Result<Vec<Listed>> {
    let mut images = Vec::new();
    for entry in store.list(IMAGES_DIRECTORY)?.into_iter().filter(|entry| entry.is_directory) {
        let Ok(name) = entry.name.parse::<ImageName>() else { continue };
        let manifest = match Manifest::read(store, &name) {
            Err(image::Error::Store(error)) if error.kind == StoreErrorKind::NotFound => None,
            other => Some(other.map_err(Error::from)),
        };
        images.push(Listed { name, manifest });
    }
    Ok(images)
}

/// Whether an image of that name exists, whole or damaged.
pub fn image_exists(store: &dyn Store, image: &ImageName) -> Result<bool> {
    match store.size(&manifest_path(image)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
