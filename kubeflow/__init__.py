"""The same pipeline on Kubeflow."""
