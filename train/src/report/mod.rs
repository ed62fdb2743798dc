//! What a run tells: metrics, TensorBoard events, the curve, the lock and the model card.
