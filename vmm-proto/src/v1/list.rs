//! What all requests for lists can say: which objects, in which order, from where on.

/// Structs of the same form, one for each kind of list.
macro_rules! list_request {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// In order of name, unless `sort` says another; all of them, unless `where` says which.
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            /// Which, in the query language: `status=running and tag~web`.
            #[serde(rename = "@where", default, skip_serializing_if = "Option::is_none")]
            pub filter: Option<String>,
            /// In which order: fields with commas between, a minus before those whose largest comes first.
            #[serde(rename = "@sort", default, skip_serializing_if = "Option::is_none")]
            pub sort: Option<String>,
            /// Those behind this, the `next` of the page before; from the first one when missing. Where neither `where` nor `sort` is said, a
            /// name.
            #[serde(rename = "@after", default, skip_serializing_if = "Option::is_none")]
            pub after: Option<String>,
            /// At most so many; when missing, as many as the manager gives.
            #[serde(rename = "@count-max", default, skip_serializing_if = "Option::is_none")]
            pub count_max: Option<u32>,
            /// Say how many there are in all, and what they come to.
            #[serde(rename = "@totals", default, skip_serializing_if = "std::ops::Not::not")]
            pub totals: bool,
        }
    )*};
}

pub(super) use list_request;
