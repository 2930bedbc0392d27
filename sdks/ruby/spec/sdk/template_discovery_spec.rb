# frozen_string_literal: true

require 'fileutils'
require 'tmpdir'

RSpec.describe TaskerCore::TemplateDiscovery do
  around do |example|
    before = %w[TASKER_TEMPLATE_PATH WORKSPACE_PATH].to_h { |name| [name, ENV.delete(name)] }
    Dir.mktmpdir { |directory| Dir.chdir(directory) { example.run } }
  ensure
    ENV.update(before)
  end

  def write(path, text)
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, text)
  end

  before do
    write('config/tasks/a.yaml', <<~YAML)
      name: order
      namespace_name: shop
      version: 1.0.0
      steps:
        - {name: validate, handler: {callable: 'Shop::Validate'}}
        - {name: charge, handler: {callable: charge, initialization: {since: 2030-01-31}}}
        - {name: broken}
    YAML
    write('config/tasks/nested/b.yml', "name: other\nsteps: [{handler: {callable: charge}}]")
    write('config/tasks/c.yaml', 'no: [template')
    write('config/tasks/d.yaml', '- a list')
    write('config/tasks/e.txt', 'name: text')
  end

  it 'finds the directory of templates' do
    path = described_class::TemplatePath
    write('Gemfile', '')
    FileUtils.mkdir_p('deep/er')
    expect(Dir.chdir('deep/er') { path.find_template_config_directory }).to eq(File.join(Dir.pwd, 'config/tasks'))
    FileUtils.mkdir_p('mine')
    ENV['TASKER_TEMPLATE_PATH'] = 'mine'
    expect(path.find_template_config_directory).to eq('mine')
  end

  it 'finds none where there is none' do
    FileUtils.rm_r('config')
    expect(described_class::TemplatePath.find_template_config_directory).to be_nil
  end

  it 'finds files and what they call' do
    expect(described_class::TemplatePath.discover_template_files('config/tasks').map { |file| File.basename(file) })
      .to eq(%w[a.yaml c.yaml d.yaml b.yml])
    expect(described_class::TemplatePath.discover_template_files('config/tasks/a.yaml')).to eq(['config/tasks/a.yaml'])
    expect(described_class::TemplateParser.extract_handler_callables('config/tasks/a.yaml')).to eq(%w[Shop::Validate charge])
    expect(described_class::TemplateParser.extract_handler_callables('nonexistent')).to eq([])
    expect(described_class::HandlerDiscovery.discover_all_handlers('config/tasks')).to eq(%w[Shop::Validate charge])
    expect(described_class::HandlerDiscovery.discover_handlers_by_namespace('config/tasks'))
      .to eq('shop' => %w[Shop::Validate charge], 'default' => ['charge'])
    expect(described_class::HandlerDiscovery.discover_template_metadata('config/tasks').first)
      .to include(name: 'order', namespace: 'shop', version: '1.0.0', file_path: 'config/tasks/a.yaml')
  end

  it 'tells a registry which handlers are missing' do
    registry = TaskerCore::Registry::HandlerRegistry.new.register_handler('charge', ->(_context) {})
    expect(registry.template_discovery_info)
      .to eq(template_directory: File.join(Dir.pwd, 'config/tasks'), handlers: %w[Shop::Validate charge], missing: ['Shop::Validate'])
  end
end
