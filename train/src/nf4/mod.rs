//! NF4 and double quantisation, as bitsandbytes has them.
