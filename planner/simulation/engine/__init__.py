"""The plant: request-level simulation of a routed inference stack. It imports nothing of the planner's core."""

from planner.simulation.engine.parameters import PlantParameters, PoolParameters, StepFit, fit_step_time
from planner.simulation.engine.plant import Counters, Plant, WorkerGauges

__all__ = ["Counters", "Plant", "PlantParameters", "PoolParameters", "StepFit", "WorkerGauges", "fit_step_time"]
