"""Recipes: what a run does, as YAML. ``load_recipe("rise", ["data=clothing"])`` opens a shipped one or a file."""

from rise_vlm.recipes.loader import SHIPPED, as_overrides, load_recipe
from rise_vlm.recipes.schema import Recipe

__all__ = ["SHIPPED", "Recipe", "as_overrides", "load_recipe"]
