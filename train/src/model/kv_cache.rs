//! The KV cache: keys and values of the tokens before, so that a text is generated one token at a time.

use candle_core::Tensor;

use crate::error::Result;

/// Keys (after RoPE) and values of one layer, [S, Hkv D] each, for the S tokens seen so far.
#[derive(Clone, Debug, Default)]
pub struct KvCache(Option<(Tensor, Tensor)>);

impl KvCache {
    /// S, the tokens seen so far.
    pub fn len(&self) -> usize {
        self.0.as_ref().and_then(|(k, _)| k.dim(0).ok()).unwrap_or(0)
    }

    /// Whether no token was seen yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Append `k` and `v` of the new tokens, [T, Hkv D]; gives all keys and values, [S + T, Hkv D].
    pub fn append(&mut self, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        let all = match self.0.take() {
            None => (k, v),
            Some((before_k, before_v)) => (Tensor::cat(&[before_k, k], 0)?, Tensor::cat(&[before_v, v], 0)?),
        };
        self.0 = Some(all.clone());
        Ok(all)
    }
}
