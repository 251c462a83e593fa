//! Where a measurement is heading: a robust slope with a band.
