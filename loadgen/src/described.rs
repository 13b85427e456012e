//! Structs whose doc comments are also data. The sentence of a figure stands once, at its
//! field. The report and docs/LOADGEN.md have the same sentence.

/// Defines a struct, and gives it `MEANINGS`: the JSON key and the doc comment of each field.
macro_rules! described {
    ($(#[$meta:meta])* pub struct $name:ident {
        $(
            $(#[doc = $meaning:literal])+
            $(#[key = $key:literal])?
            $(#[serde(rename = $renamed:literal, with = $with:literal)])?
            pub $field:ident: $type:ty,
        )*
    }) => {
        $(#[$meta])*
        pub struct $name {
            $(
                $(#[doc = $meaning])+
                $(#[serde(rename = $renamed, with = $with)])?
                pub $field: $type,
            )*
        }

        impl $name {
            /// The JSON key and the meaning of each field.
            pub const MEANINGS: &'static [(&'static str, &'static str)] = &[$((
                described!(@key $field $($key)? $($renamed)?),
                concat!($($meaning),+).trim_ascii_start(),
            )),*];
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
}

pub(crate) use described;
