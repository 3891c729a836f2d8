"""Makes patients as hard as the disease, `mets3d synth --difficulty mets`: small faint lesions among their mimics."""
