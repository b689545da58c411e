"""Everything that ``planner check`` looks at; each part answers with findings and never stops at the first."""
