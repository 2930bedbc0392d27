# frozen_string_literal: true

require 'date'
require 'yaml'

module TaskerCore
  # Finds template files on disk, and the handlers that they name. All of it is forgiving: a file that is no template
  # yields nothing; reading and checking templates is the server's task.
  module TemplateDiscovery
    # Where templates are.
    module TemplatePath
      # What shows that a directory is the root of a workspace.
      WORKSPACE_MARKERS = %w[Gemfile .git Cargo.toml pyproject.toml package.json].freeze

      module_function

      # The first directory that exists of: +TASKER_TEMPLATE_PATH+, and +config/tasks+ below +WORKSPACE_PATH+, the
      # workspace and the working directory. The workspace is the nearest directory, from the working directory up,
      # that holds one of {WORKSPACE_MARKERS}.
      #
      # @return [String, nil]
      def find_template_config_directory
        roots = [ENV.fetch('WORKSPACE_PATH', nil), workspace, Dir.pwd].compact
        candidates = [ENV.fetch('TASKER_TEMPLATE_PATH', nil), *roots.map { |root| File.join(root, 'config', 'tasks') }]
        candidates.compact.find { |path| File.directory?(path) }
      end

      # @param path [String] a directory, or one file
      # @return [Array<String>] all YAML files below it, sorted
      def discover_template_files(path)
        return [path] if File.file?(path)

        Dir.glob(File.join(path, '**', '*.{yaml,yml}')).select { |file| File.file?(file) }.sort
      end

      # @return [String, nil]
      def workspace
        directory = Dir.pwd
        until WORKSPACE_MARKERS.any? { |marker| File.exist?(File.join(directory, marker)) }
          above = File.dirname(directory)
          return nil if above == directory

          directory = above
        end
        directory
      end
    end

    # What a template file says about itself and its handlers.
    module TemplateParser
      module_function

      # @param file [String]
      # @return [Array<String>] the callables of its steps, in order; empty if it is no template
      def extract_handler_callables(file)
        extract_handlers_from_template(read(file))
      end

      # @param template [Object] a template that was read
      # @return [Array<String>] the callables of its steps, in order
      def extract_handlers_from_template(template)
        steps = template.is_a?(Hash) ? template['steps'] : nil
        handlers = steps.is_a?(Array) ? steps.grep(Hash).map { |step| step['handler'] } : []
        handlers.grep(Hash).map { |handler| handler['callable'] }.grep(String).reject(&:empty?)
      end

      # @param file [String]
      # @return [Hash{Symbol => Object}] +name+, +namespace+, +version+, +description+, +file_path+, +handlers+; empty
      #   if it is no template
      def extract_template_metadata(file)
        template = read(file)
        return {} unless template.is_a?(Hash)

        { name: template['name'], namespace: template['namespace_name'] || template['namespace'],
          version: template['version'], description: template['description'], file_path: file,
          handlers: extract_handlers_from_template(template) }
      end

      # @return [Object, nil]
      def read(file)
        YAML.safe_load(File.read(file, encoding: 'UTF-8'), permitted_classes: [Date, Time, Symbol], aliases: true)
      rescue SystemCallError, Psych::Exception, ArgumentError
        nil
      end
    end

    # What the templates of a directory say about handlers.
    module HandlerDiscovery
      module_function

      # @param path [String]
      # @return [Array<String>] the callables of all templates, sorted, each once
      def discover_all_handlers(path)
        files = TemplatePath.discover_template_files(path)
        files.flat_map { |file| TemplateParser.extract_handler_callables(file) }.uniq.sort
      end

      # @param path [String]
      # @return [Array<Hash{Symbol => Object}>] see {TemplateParser.extract_template_metadata}
      def discover_template_metadata(path)
        files = TemplatePath.discover_template_files(path)
        files.map { |file| TemplateParser.extract_template_metadata(file) }.reject(&:empty?)
      end

      # @param path [String]
      # @return [Hash{String => Array<String>}] the callables of each namespace's templates, sorted, each once
      def discover_handlers_by_namespace(path)
        by_namespace = discover_template_metadata(path).group_by { |template| template[:namespace] || 'default' }
        by_namespace.transform_values { |templates| templates.flat_map { |template| template[:handlers] }.uniq.sort }
      end
    end
  end
end
