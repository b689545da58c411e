"""A real routed stack on this machine: NVIDIA Dynamo's frontend and workers, Prometheus, Envoy, and a client's load."""
